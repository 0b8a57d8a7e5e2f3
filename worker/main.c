#include <stdio.h>

int main(void)
{
    puts("jobmill-worker " JM_VERSION);
    return 0;
}
