"""The commands `holdfast import` and `holdfast export`: one module for each engine, `engines` and `outcome` for all."""
