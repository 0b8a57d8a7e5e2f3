#include "lib/json.h"

const char *json_problem_words(enum json_problem problem)
{
    switch (problem) {
#define X(name, words) \
    case name:         \
        return words;
        JSON_PROBLEMS(X)
#undef X
    }
    return "unknown problem";
}
