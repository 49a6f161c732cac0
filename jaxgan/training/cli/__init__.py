"""Command lines: arguments into dataclasses, exits without tracebacks, the cache of compiled programs. No
option is declared here."""
