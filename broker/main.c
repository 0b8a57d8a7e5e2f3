#include <stdio.h>

int main(void)
{
    puts("jobmill-broker " JM_VERSION);
    return 0;
}
