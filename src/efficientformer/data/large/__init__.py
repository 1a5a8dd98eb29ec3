"""Folders of very many images: listed once, kept, and not decoded before they are used."""
