"""The command line: one module per verb, and the only place of the project that prints, prompts or
exits."""
