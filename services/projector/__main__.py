"""Run the projector."""

from services.projector.app import main

if __name__ == "__main__":
    main()
