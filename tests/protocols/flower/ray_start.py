"""How scripts of tests start Ray."""


def start_ray():
    """Ray gives its own helpers fifteen seconds to start, which a busy machine may exceed: try again."""
    import ray

    for tries_left in (3, 2, 1, 0):
        try:
            ray.init(num_cpus=2, include_dashboard=False)
        except Exception:
            ray.shutdown()
            if not tries_left:
                raise
        else:
            return
