"""What the core and the edge share: the contract, telemetry set-up and the command line."""
