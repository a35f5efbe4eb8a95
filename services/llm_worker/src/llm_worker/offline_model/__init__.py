"""A small OpenAI-compatible server that answers with what it measures; it stands in for a real model."""
