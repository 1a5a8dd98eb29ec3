"""`python -m efficientformer`, where the command itself is not on the path."""

from efficientformer.cli.app import main

if __name__ == "__main__":
    main()
