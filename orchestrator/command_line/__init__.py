"""The commands, and what people see of them."""
