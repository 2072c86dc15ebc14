namespace iol {}
