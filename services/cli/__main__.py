"""`python -m services.cli`, for where the script `inglenook` is not on the path."""

from services.cli.main import main

if __name__ == "__main__":
    main()
