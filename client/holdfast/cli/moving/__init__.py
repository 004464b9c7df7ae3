"""The commands `holdfast import` and `holdfast export`: one module for each engine, `common` for all."""
