"""What an operator copies or starts to run the service."""
