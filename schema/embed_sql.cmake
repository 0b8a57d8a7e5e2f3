# Writes OUTPUT, a C file that holds every SQL_FILES entry (NNNN-name.sql, in order) as a string:
#   cmake -DOUTPUT=... "-DSQL_FILES=a.sql|b.sql" -P embed_sql.cmake
string(REPLACE "|" ";" files "${SQL_FILES}")
set(rows "")
foreach(path IN LISTS files)
    get_filename_component(name "${path}" NAME)
    if(NOT name MATCHES "^0*([1-9][0-9]*)-([a-z0-9-]+)\\.sql$")
        message(FATAL_ERROR "${name}: a migration is called NNNN-name.sql")
    endif()
    set(number "${CMAKE_MATCH_1}")
    set(word "${CMAKE_MATCH_2}")
    file(READ "${path}" sql)
    string(REPLACE "\\" "\\\\" sql "${sql}")
    string(REPLACE "\"" "\\\"" sql "${sql}")
    string(REPLACE "\n" "\\n\"\n     \"" sql "${sql}")
    string(APPEND rows "    {${number}, \"${word}\",\n     \"${sql}\"},\n")
endforeach()
file(WRITE "${OUTPUT}" "/* Made from schema/sql by embed_sql.cmake. */
#include \"schema/migrations.h\"

#include \"lib/attr.h\"

static const struct migration rows[] = {
${rows}};

const struct migration *migrations_all(size_t *ret_count)
{
    *ret_count = JM_COUNT_OF(rows);
    return rows;
}
")
