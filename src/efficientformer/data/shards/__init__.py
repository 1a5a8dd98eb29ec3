"""Images in tar files (WebDataset): listed once, then read one by one, each at its place."""
