"""Whatever holds scores, opened in one way."""
