"""Images in, batches out: the shipped image set, folders of images, transforms, mixing and the loader."""
