"""A training run: the recipe, the data's workers, one step, the stages, and what is saved."""
