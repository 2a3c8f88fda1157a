"""Who may read a directory."""


class AclInner:
    def __init__(self, pseudonym, acl_string):
        self.pseudonym = pseudonym
        self.acl_string = acl_string

    def __repr__(self):
        return "AclType.%s" % self.pseudonym


class AclType:
    public = AclInner("public", "user://*")
    my_algos = AclInner("my_algos", "algo://.my/*")
    private = AclInner("private", None)  # an empty list
    default = my_algos
    types = (public, my_algos, private)

    @staticmethod
    def from_acl_response(acl_list):
        if not acl_list:
            return AclType.private
        for one in AclType.types:
            if one.acl_string == acl_list[0]:
                return one
        raise ValueError("unknown access %r" % acl_list[0])


class Acl:
    def __init__(self, read_acl):
        self.read_acl = read_acl

    @staticmethod
    def from_acl_response(acl_response):
        return Acl(AclType.from_acl_response(acl_response["read"]))

    def to_api_param(self):
        word = self.read_acl.acl_string
        return {"read": [] if word is None else [word]}


class ReadAcl:
    public = Acl(AclType.public)
    private = Acl(AclType.private)
    my_algos = Acl(AclType.my_algos)
