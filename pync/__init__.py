"""pync: a netcat in pure Python that ends right. The rooms are listed in CONTRIBUTING.md."""

__version__ = "0.1.0"
