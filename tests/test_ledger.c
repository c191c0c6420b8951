#include <criterion/criterion.h>
Test(ledger, x)
{
}
