"""Where the milliseconds of a network go, by its operators."""
