"""Songs to stems."""
