"""Run the compactor."""

from services.compactor.app import main

if __name__ == "__main__":
    main()
