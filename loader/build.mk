loader_LIB :=
