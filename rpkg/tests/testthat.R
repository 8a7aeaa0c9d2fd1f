library(testthat)
library(sailerx)

test_check("sailerx")
