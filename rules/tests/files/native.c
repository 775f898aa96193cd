#include <stdio.h>

int main(void)
{
	puts("native");
	return 0;
}
