"""A configuration is frozen; a changed one is a new one."""

from ferrosight.types import Config

strict = Config().with_settings({"clusters.q": "0.01", "report.gallery_size": 12})

assert strict.clusters.q == 0.01
assert Config().clusters.q == 0.05
print(strict.as_dict())
