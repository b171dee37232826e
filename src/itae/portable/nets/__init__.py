"""Networks from a spec, and what they cost by counting."""
