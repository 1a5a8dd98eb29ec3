"""What is in a folder of images: counts, broken files, duplicates, classes, and a contact sheet."""
