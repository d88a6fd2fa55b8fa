"""What an attacker does, what a server does against it, and what comes of both."""
