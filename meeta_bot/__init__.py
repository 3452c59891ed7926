"""meeta_bot: the flight recorder for Jitsi."""

__version__ = "0.1.0"
