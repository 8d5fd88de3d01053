{#
    Where a dotted property path lies in a JSON document, as a location DuckDB reads literally. A JSON pointer is right
    for every key but reads digits as a list index too, which Polar does not: such paths are written as a JSON path,
    unless they hold what DuckDB refuses there even in quotes.
#}
{% macro json_location(path) -%}
    (case
        when regexp_matches({{ path }}, '(^|\.)[0-9]+(\.|$)') and not regexp_matches({{ path }}, '["*\\]')
            then '$."' || replace({{ path }}, '.', '"."') || '"'
        else '/' || replace(replace(replace({{ path }}, '~', '~0'), '/', '~1'), '.', '/')
    end)
{%- endmacro %}
