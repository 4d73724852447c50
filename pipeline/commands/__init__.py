"""What the `finetrack` command does: a module a call, above every layer."""
