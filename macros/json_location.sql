{#
    Where a dotted property path lies in a JSON document, as a location DuckDB reads literally. A JSON pointer is right
    for every key but reads digits as a list index too, which Polar does not: such paths are written as a JSON path.
#}
{% macro json_location(path) -%}
    (case
        when regexp_matches({{ path }}, '(^|\.)[0-9]+(\.|$)')
            then '$."' || replace({{ path }}, '.', '"."') || '"'
        else '/' || replace(replace(replace({{ path }}, '~', '~0'), '/', '~1'), '.', '/')
    end)
{%- endmacro %}
