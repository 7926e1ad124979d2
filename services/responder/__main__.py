"""Run the responder."""

from services.responder.app import main

if __name__ == "__main__":
    main()
