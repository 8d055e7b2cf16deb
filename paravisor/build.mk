paravisor_LIB :=
