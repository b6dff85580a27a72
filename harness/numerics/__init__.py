"""Numerical functions shared by strategies, predictors and reports. numpy only."""
