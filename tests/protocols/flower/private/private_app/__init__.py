"""An app whose rounds are private: what its nodes contribute is known, so that tests can tell what came out."""
