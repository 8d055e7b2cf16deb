host_LIB :=
