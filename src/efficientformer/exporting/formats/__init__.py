"""File formats that runtimes read: one file each, a value that writes modules and takes in the files of users."""
