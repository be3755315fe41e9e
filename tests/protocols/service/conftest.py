"""PostgreSQL for the service's tests, a schema of its own for each of them."""

from tests.dp.conftest import postgres, postgres_url, url

__all__ = ["postgres", "postgres_url", "url"]
