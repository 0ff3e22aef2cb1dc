"""HTTP at the rim: the streaming response and problem documents."""
