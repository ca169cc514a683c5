#include <stdio.h>
#include <sys/utsname.h>

int main(int count, char **words)
{
	struct utsname system;

	uname(&system);
	printf("Hello, %s, from a static program on %s %s\n", count > 1 ? words[1] : "world", system.sysname, system.machine);
	return 0;
}
