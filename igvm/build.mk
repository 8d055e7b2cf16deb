igvm_LIB :=
