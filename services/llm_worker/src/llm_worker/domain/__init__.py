"""What llm_worker knows without doing I/O."""
