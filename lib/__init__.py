"""Plain Python that knows no Prefect: the engine, the wings, the clients."""
