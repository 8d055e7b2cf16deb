/* Names of the isolation kinds. */
#include "loader/isolation.h"

const char *isolation_name(enum isolation isolation)
{
	switch (isolation) {
	case ISOLATION_VBS: return "vbs";
	case ISOLATION_SNP: return "snp";
	case ISOLATION_TDX: return "tdx";
	case ISOLATION_NONE: break;
	}
	return "none";
}
