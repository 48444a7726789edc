"""`python -m insightface_cakd`, as torchrun starts it."""

from insightface_cakd.cli import main

if __name__ == "__main__":
    main()
