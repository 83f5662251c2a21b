from episode_fixtures import assert_same, index, labels, random_outcome, solved  # noqa: F401
