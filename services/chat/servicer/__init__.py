"""The wire in, the wire out: requests become conversations, steps of answers become events."""
